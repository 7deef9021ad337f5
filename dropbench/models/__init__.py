"""The models, one file each: plain nn.Modules whose dropout layers are attributes."""
