// Bulk copies from shared memory: they read it at one time and write at another.
#pragma once
#include <memory>

#include "sim_machine.h"

namespace dsk::sim {

struct BulkStore : AsyncCopy {
  virtual void read() = 0;
  virtual void write() = 0;
  bool step() final;
  bool may_outlive_block() const final { return true; }

  bool was_read = false;
  bool was_written = false;
  // Somebody waited until it had read.
  bool waited = false;
};

// Adds it to the running thread's open group.
void start_store(std::shared_ptr<BulkStore> store);

// Fails when the running thread, which leaves, has stores whose shared memory may not have been read.
void check_stores_finished();

}  // namespace dsk::sim
