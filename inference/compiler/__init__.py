"""Capture a model's graph, match what a template can do, plan, emit, and report. No CUDA needed."""
