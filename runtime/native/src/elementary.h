// exp and log of fdlibm, which V8 has as Math.exp and Math.log: the same bits whatever C library there is.
#pragma once

namespace dsk {

double exp_fdlibm(double x);
double log_fdlibm(double x);

}  // namespace dsk
