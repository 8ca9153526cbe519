"""Base of executors whose jobs run elsewhere, and keep their state in files there: SSH, Slurm, Kubernetes."""
