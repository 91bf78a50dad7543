// The table of all kernels: the one symbol that the runtime looks up.
#include "abi.h"

extern const dsk_kernel dsk_rows_mul;
extern const dsk_kernel dsk_parts_contract;
extern const dsk_kernel dsk_parts_pow;
extern const dsk_kernel dsk_parts_span_to;
extern const dsk_kernel dsk_plane_p;
extern const dsk_kernel dsk_gemm_contract;
extern const dsk_kernel dsk_gemm_h;
extern const dsk_kernel dsk_gemm_mul;
extern const dsk_kernel dsk_gemm_add;
extern const dsk_kernel dsk_parts_contract_2;
extern const dsk_kernel dsk_parts_reduce;
extern const dsk_kernel dsk_parts_k_pe;
extern const dsk_kernel dsk_parts_mul;
extern const dsk_kernel dsk_parts_picked;
extern const dsk_kernel dsk_gemm_mul_2;
extern const dsk_kernel dsk_gemm_contract_2;
extern const dsk_kernel dsk_rows_weight;
extern const dsk_kernel dsk_rows_weight_2;
extern const dsk_kernel dsk_rows_gather;
extern const dsk_kernel dsk_gemm_contract_3;

extern "C" const dsk_kernel* dsk_kernels(int32_t abi, int32_t* count) {
  if (abi != DSK_ABI) return nullptr;
  static const dsk_kernel kernels[] = {
    dsk_rows_mul,
    dsk_parts_contract,
    dsk_parts_pow,
    dsk_parts_span_to,
    dsk_plane_p,
    dsk_gemm_contract,
    dsk_gemm_h,
    dsk_gemm_mul,
    dsk_gemm_add,
    dsk_parts_contract_2,
    dsk_parts_reduce,
    dsk_parts_k_pe,
    dsk_parts_mul,
    dsk_parts_picked,
    dsk_gemm_mul_2,
    dsk_gemm_contract_2,
    dsk_rows_weight,
    dsk_rows_weight_2,
    dsk_rows_gather,
    dsk_gemm_contract_3,
  };
  *count = sizeof kernels / sizeof kernels[0];
  return kernels;
}
