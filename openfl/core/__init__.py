"""What every room stands on: contributions, errors, telemetry, names, files."""
