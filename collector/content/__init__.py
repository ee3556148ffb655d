"""Detection content: what others write, compiled to what hosts judge by."""
