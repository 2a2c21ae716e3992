"""The command `consoleproxy`: consoles and sessions are looked after, and proxies are run in the foreground.

`main` understands a command line and carries it out. The commands and their options stand under their noun: `console`,
`session`, `config`, `vmware`, `graphics_xml`, and `proxies` for those that run one. They share `subcommands`, where
they add themselves, `arguments`, `remote` (the API of another machine), `secrets` and `table`. Imported by
`rfbproxy.__main__` alone. What takes long to import is imported by the one command that needs it.
"""
