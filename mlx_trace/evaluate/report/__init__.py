"""One page, table or JSON object of what runs learnt and what evaluations measured."""
