"""What people prefer among the members of a front, learned from answers about pairs of them."""
