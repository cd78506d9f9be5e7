"""The model: customers, products and sales documents; what may happen to them, and why not."""
