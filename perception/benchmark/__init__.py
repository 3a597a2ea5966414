"""One table for all perception models: accuracy and latency of the same files, in one run."""
