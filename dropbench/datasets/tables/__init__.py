"""Tables: their files, and the columns and targets that a net is given."""
