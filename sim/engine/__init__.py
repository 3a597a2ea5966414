"""Device code: Warp kernels over torch tensors, one thread a world, the same source on CPU and CUDA."""

import warp as wp

wp.config.log_level = wp.LOG_WARNING  # no banner, no line a compiled kernel
wp.init()
