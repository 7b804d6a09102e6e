"""The control plane's side of the GPU workers."""
