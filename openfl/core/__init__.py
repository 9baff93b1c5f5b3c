"""What every room may know: contributions, errors, telemetry, names, files."""
