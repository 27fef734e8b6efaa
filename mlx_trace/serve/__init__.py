"""An OpenAI-compatible server: requests in, traces and answers out, decoded together as they come."""
