"""The experiments of the lecture and the 2014 paper: theirs beside ours."""
