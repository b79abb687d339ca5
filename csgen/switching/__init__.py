"""The code-switcher: policies, tokens, the kernel, spans."""
