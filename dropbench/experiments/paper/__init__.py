"""The experiments of the lecture and the 2014 paper: settings in one file each, carried out and recorded."""
