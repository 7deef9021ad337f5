"""The one training loop, the one evaluation loop, and the device they run on."""
