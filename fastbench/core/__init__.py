"""What every other package stands on: errors, units, statistics, the configuration, the device."""
