"""The models, one file a net: plain nn.Modules whose dropout sites are explicit attributes."""
