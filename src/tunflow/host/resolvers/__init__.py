"""Where the host keeps its resolvers, and how they are replaced and put back."""
