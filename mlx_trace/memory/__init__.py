"""What a run takes of memory, predicted from shapes, and the plan that fits a machine."""
