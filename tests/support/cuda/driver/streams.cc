// Streams and events. A stream's work runs when somebody waits for it, in the thread that waits, and not before: whoever forgets to
// wait sees it. Work of other streams that an event stands for runs first.
#include <algorithm>
#include <chrono>
#include <deque>

#include "state.h"

struct CUstream_st {
  bool blocking = true;
  std::deque<std::function<void()>> work;
  // Pieces of work so far that were enqueued, and that are done.
  uint64_t enqueued = 0;
  uint64_t done = 0;
};

struct CUevent_st {
  bool timed = true;
  // What it stands for: the first `until` pieces of the stream's work. Null before it is recorded.
  CUstream stream = nullptr;
  uint64_t until = 0;
  std::chrono::steady_clock::time_point time;
};

namespace dsk::driver {
namespace {

struct Streams {
  CUstream_st legacy;
  std::vector<CUstream> all{&legacy};
};

Streams& streams() {
  static auto* const made = new Streams;
  return *made;
}

CUstream_st& of(CUstream stream) { return stream == nullptr ? streams().legacy : *stream; }

bool exists(CUstream stream) {
  const auto& all = streams().all;
  return stream == nullptr || std::find(all.begin(), all.end(), stream) != all.end();
}

void run_until(CUstream_st& stream, uint64_t until) {
  while (stream.done < until && !stream.work.empty()) {
    const auto work = std::move(stream.work.front());
    stream.work.pop_front();
    // After a failure nothing runs any more.
    if (broken() == CUDA_SUCCESS) work();
    ++stream.done;
  }
}

// The default stream waits for all others that were not made with CU_STREAM_NON_BLOCKING, and they for it.
void run_before(CUstream_st& stream) {
  if (!stream.blocking) return;
  for (const CUstream other : streams().all) {
    if (other->blocking && (&stream == &streams().legacy || other == &streams().legacy)) run_until(*other, other->enqueued);
  }
}

bool finished(const CUevent_st& event) {
  return event.stream == nullptr || !exists(event.stream) || event.stream->done >= event.until;
}

void finish(const CUevent_st& event) {
  if (!finished(event)) run_until(*event.stream, event.until);
}

}  // namespace

void enqueue(CUstream stream, std::function<void()> work) {
  CUstream_st& found = of(stream);
  run_before(found);
  found.work.push_back(std::move(work));
  ++found.enqueued;
}

void drain(CUstream stream) { run_until(of(stream), of(stream).enqueued); }

void drain_all(bool blocking_only) {
  for (const CUstream stream : streams().all) {
    if (stream->blocking || !blocking_only) run_until(*stream, stream->enqueued);
  }
}

}  // namespace dsk::driver

using namespace dsk::driver;

DSK_API cuStreamCreate(CUstream* stream, unsigned int flags) {
  DSK_CALL("cuStreamCreate");
  *stream = new CUstream_st;
  (*stream)->blocking = (flags & CU_STREAM_NON_BLOCKING) == 0;
  streams().all.push_back(*stream);
  return CUDA_SUCCESS;
}

DSK_API cuStreamDestroy_v2(CUstream stream) {
  DSK_CALL("cuStreamDestroy");
  if (stream == nullptr || !exists(stream)) return CUDA_ERROR_INVALID_HANDLE;
  drain(stream);
  auto& all = streams().all;
  all.erase(std::find(all.begin(), all.end(), stream));
  delete stream;
  return CUDA_SUCCESS;
}

DSK_API cuStreamSynchronize(CUstream stream) {
  DSK_CALL("cuStreamSynchronize");
  if (!exists(stream)) return CUDA_ERROR_INVALID_HANDLE;
  drain(stream);
  return broken();
}

// Does one piece of work, so that whoever asks again and again comes to an end.
DSK_API cuStreamQuery(CUstream stream) {
  DSK_CALL("cuStreamQuery");
  if (!exists(stream)) return CUDA_ERROR_INVALID_HANDLE;
  CUstream_st& found = of(stream);
  if (found.done == found.enqueued) return broken();
  run_until(found, found.done + 1);
  return broken() != CUDA_SUCCESS ? broken() : CUDA_ERROR_NOT_READY;
}

DSK_API cuStreamWaitEvent(CUstream stream, CUevent event, unsigned int) {
  DSK_CALL("cuStreamWaitEvent");
  if (!exists(stream)) return CUDA_ERROR_INVALID_HANDLE;
  // What the event stands for now; it may be recorded anew before the stream comes here.
  enqueue(stream, [now = *event] { finish(now); });
  return CUDA_SUCCESS;
}

DSK_API cuEventCreate(CUevent* event, unsigned int flags) {
  DSK_CALL("cuEventCreate");
  *event = new CUevent_st;
  (*event)->timed = (flags & CU_EVENT_DISABLE_TIMING) == 0;
  return CUDA_SUCCESS;
}

DSK_API cuEventDestroy_v2(CUevent event) {
  DSK_CALL("cuEventDestroy");
  // The work that records its time refers to it.
  finish(*event);
  delete event;
  return CUDA_SUCCESS;
}

DSK_API cuEventRecord(CUevent event, CUstream stream) {
  DSK_CALL("cuEventRecord");
  if (!exists(stream)) return CUDA_ERROR_INVALID_HANDLE;
  finish(*event);
  enqueue(stream, [event] { event->time = std::chrono::steady_clock::now(); });
  event->stream = &of(stream);
  event->until = event->stream->enqueued;
  return CUDA_SUCCESS;
}

DSK_API cuEventSynchronize(CUevent event) {
  DSK_CALL("cuEventSynchronize");
  finish(*event);
  return broken();
}

DSK_API cuEventQuery(CUevent event) {
  DSK_CALL("cuEventQuery");
  if (finished(*event)) return broken();
  run_until(*event->stream, event->stream->done + 1);
  return broken() != CUDA_SUCCESS ? broken() : CUDA_ERROR_NOT_READY;
}

DSK_API cuEventElapsedTime_v2(float* milliseconds, CUevent start, CUevent end) {
  DSK_CALL("cuEventElapsedTime");
  if (!start->timed || !end->timed || start->stream == nullptr || end->stream == nullptr) return CUDA_ERROR_INVALID_HANDLE;
  if (!finished(*start) || !finished(*end)) return CUDA_ERROR_NOT_READY;
  *milliseconds = std::chrono::duration<float, std::milli>(end->time - start->time).count();
  return CUDA_SUCCESS;
}

// The same under its first name, which drivers still have.
DSK_API cuEventElapsedTime(float* milliseconds, CUevent start, CUevent end) {
  return cuEventElapsedTime_v2(milliseconds, start, end);
}
