// What a warp has under way of wgmma.
#pragma once

namespace dsk::sim {

// Fails when the running thread's warp leaves the kernel with products that it did not wait for.
void check_wgmma_finished();

}  // namespace dsk::sim
