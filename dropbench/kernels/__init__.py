"""Fused operations on tensors: each is one pass over memory where torch's own operations are several.

A file has one concept: a function on tensors that chooses between a kernel and torch's own operations, and
the kernel. On the CPU kernels are compiled by numba (dropbench.kernels.compiled), on CUDA by Triton
(dropbench.kernels.on_cuda). Torch's own operations give the same values; they are used where a kernel cannot
be: without numba, under torch.compile, for other devices, dtypes and memory formats.
"""
