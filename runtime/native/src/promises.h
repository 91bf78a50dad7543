// Promises of a session's calls, settled on JavaScript's thread.
#pragma once
#include <napi.h>

#include <functional>
#include <map>
#include <memory>
#include <vector>

#include "queue.h"
#include "values.h"

namespace dsk {

class Promises {
 public:
  explicit Promises(Napi::Env env) : env_(env) {}

  // Opens what reports the ends of calls here: `make` takes a `Queue::Report`, and what is called as the last thing.
  template <class Session, class Make>
  std::shared_ptr<Session> open(Make make) {
    auto* const leaving = new Leaving{env_, {}};
    const Napi::String name = Napi::String::New(env_, "dskc session");
    if (napi_create_threadsafe_function(env_, nullptr, nullptr, name, 0, 1, leaving, &forget, this, &deliver, &border_) !=
        napi_ok) {
      delete leaving;
      values::fail("cannot make a way back to JavaScript");
    }
    // A session that does nothing keeps no process alive.
    napi_unref_threadsafe_function(env_, border_);
    const auto report = [border = border_](uint64_t id, const Outcome& outcome) {
      auto* const end = new End{id, outcome};
      if (napi_call_threadsafe_function(border, end, napi_tsfn_nonblocking) != napi_ok) delete end;
    };
    const auto closed = [border = border_] { napi_release_threadsafe_function(border, napi_tsfn_release); };
    try {
      const std::shared_ptr<Session> session = make(report, closed);
      leaving->wait = [weak = std::weak_ptr<Session>(session)] {
        const std::shared_ptr<Session> alive = weak.lock();
        if (alive == nullptr) return;
        alive->queue().close();
        alive->queue().wait();
      };
      napi_add_env_cleanup_hook(env_, &leave, leaving);
      return session;
    } catch (...) {
      closed();
      throw;
    }
  }

  // A promise of a call that `submit` hands over. It says false when the call was cancelled. What is kept stays until then.
  template <class Submit>
  Napi::Value of(uint64_t id, std::vector<Napi::ObjectReference> kept, Submit submit) {
    if (pending_.contains(id)) values::fail("there is a call " + std::to_string(id) + " already");
    Pending pending{nullptr, std::move(kept)};
    napi_value promise = nullptr;
    if (napi_create_promise(env_, &pending.deferred, &promise) != napi_ok) values::fail("cannot make a promise");
    submit();
    if (pending_.empty()) napi_ref_threadsafe_function(env_, border_);
    pending_.emplace(id, std::move(pending));
    return {env_, promise};
  }

  // Whether calls are under way.
  bool any() const { return !pending_.empty(); }

 private:
  // How a call ended, on its way to the thread of JavaScript.
  struct End {
    uint64_t id;
    Outcome outcome;
  };

  struct Pending {
    napi_deferred deferred;
    // The arrays that the session writes to, and the object that has these promises.
    std::vector<Napi::ObjectReference> kept;
  };

  // What happens when the environment goes: no launch may write to its arrays any more, and nobody may report. The object of the
  // session may have gone before.
  struct Leaving {
    napi_env env;
    std::function<void()> wait;
  };

  static void leave(void* data) { static_cast<Leaving*>(data)->wait(); }

  // Nobody reports any more.
  static void forget(napi_env, void* data, void*) {
    const std::unique_ptr<Leaving> leaving(static_cast<Leaving*>(data));
    if (leaving->wait) napi_remove_env_cleanup_hook(leaving->env, &leave, leaving.get());
  }

  static void deliver(napi_env env, napi_value, void* context, void* data) {
    const std::unique_ptr<End> end(static_cast<End*>(data));
    if (env == nullptr) return;
    static_cast<Promises*>(context)->settle(*end);
  }

  // Without node-addon-api: a worker that is being ended lets nothing be called, and that is no error.
  void settle(const End& end) {
    const auto found = pending_.find(end.id);
    if (found == pending_.end()) return;
    const Pending pending = std::move(found->second);
    pending_.erase(found);
    if (pending_.empty()) napi_unref_threadsafe_function(env_, border_);
    const auto& [status, message, code] = end.outcome;
    napi_value value = nullptr;
    napi_value kind = nullptr;
    napi_value error = nullptr;
    if (status != Outcome::kFailed) {
      if (napi_get_boolean(env_, status == Outcome::kDone, &value) == napi_ok) {
        napi_resolve_deferred(env_, pending.deferred, value);
      }
    } else if (napi_create_string_utf8(env_, message.data(), message.size(), &value) == napi_ok &&
               (code.empty() || napi_create_string_utf8(env_, code.data(), code.size(), &kind) == napi_ok) &&
               napi_create_error(env_, kind, value, &error) == napi_ok) {
      napi_reject_deferred(env_, pending.deferred, error);
    }
  }

  const Napi::Env env_;
  napi_threadsafe_function border_ = nullptr;
  std::map<uint64_t, Pending> pending_;
};

}  // namespace dsk
