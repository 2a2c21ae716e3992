"""Several processes that serve together, and the one that looks after them.

The started process is the supervisor (`supervisor`). It has the listening sockets, what all share of limits (`limits`),
and for each of its places (`slot`) a worker (`process`), which is a child (`__main__`) that runs what a process alone
would: `rfbproxy.serving`. Both sides of a `link` tell and ask each other what neither knows alone. Only doors import
this package.
"""
