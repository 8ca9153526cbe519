"""Base of executors whose jobs run on other machines, and keep their state in files there: SSH, Slurm, Kubernetes."""
