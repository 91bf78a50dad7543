// The table of all kernels: the one symbol that the runtime looks up.
#include "abi.h"

extern const dsk_kernel dsk_rows_rms_norm;
extern const dsk_kernel dsk_parts_wq_a_wkv_a;
extern const dsk_kernel dsk_parts_wq_b;
extern const dsk_kernel dsk_parts_wk_b;
extern const dsk_kernel dsk_plane_mla_output;
extern const dsk_kernel dsk_gemm_wv_b;
extern const dsk_kernel dsk_gemm_wo;
extern const dsk_kernel dsk_gemm_gate_up;
extern const dsk_kernel dsk_gemm_down;
extern const dsk_kernel dsk_parts_wq_a_wkv_a_2;
extern const dsk_kernel dsk_parts_wq_b_2;
extern const dsk_kernel dsk_parts_wk_b_2;
extern const dsk_kernel dsk_parts_gate_up;
extern const dsk_kernel dsk_parts_down;
extern const dsk_kernel dsk_gemm_gate_up_2;
extern const dsk_kernel dsk_gemm_down_2;
extern const dsk_kernel dsk_rows_rms_norm_2;
extern const dsk_kernel dsk_rows_hidden;
extern const dsk_kernel dsk_rows_embedding_transposed;
extern const dsk_kernel dsk_gemm_head;

extern "C" const dsk_kernel* dsk_kernels(int32_t abi, int32_t* count) {
  if (abi != DSK_ABI) return nullptr;
  static const dsk_kernel kernels[] = {
    dsk_rows_rms_norm,
    dsk_parts_wq_a_wkv_a,
    dsk_parts_wq_b,
    dsk_parts_wk_b,
    dsk_plane_mla_output,
    dsk_gemm_wv_b,
    dsk_gemm_wo,
    dsk_gemm_gate_up,
    dsk_gemm_down,
    dsk_parts_wq_a_wkv_a_2,
    dsk_parts_wq_b_2,
    dsk_parts_wk_b_2,
    dsk_parts_gate_up,
    dsk_parts_down,
    dsk_gemm_gate_up_2,
    dsk_gemm_down_2,
    dsk_rows_rms_norm_2,
    dsk_rows_hidden,
    dsk_rows_embedding_transposed,
    dsk_gemm_head,
  };
  *count = sizeof kernels / sizeof kernels[0];
  return kernels;
}
