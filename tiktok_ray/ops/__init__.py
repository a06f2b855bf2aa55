"""Operating a service: starting and stopping it, systemd, monitoring, maintenance, machine checks."""
