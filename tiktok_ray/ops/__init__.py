"""Operating a service: starting and ending it, systemd, monitoring, upkeep, checks of the machine."""
