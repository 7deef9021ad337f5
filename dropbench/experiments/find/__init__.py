"""Finding the best setting in a given time, and what it means in code of the user's own."""
