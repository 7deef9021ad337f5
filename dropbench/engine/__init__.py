"""Training, evaluation, and the device and process settings for both."""
