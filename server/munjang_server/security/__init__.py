"""Who may call: TLS with certificates that reload, bearer tokens, permissions and rates."""
