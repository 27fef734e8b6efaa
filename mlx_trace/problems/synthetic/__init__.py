"""Problem families written as schemas, and the problems drawn from them."""
