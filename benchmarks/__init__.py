"""How fast the proxy is, beside its peers: `make bench`, or `python -m benchmarks` for parts of it.

`load/` is the load generator, in C, both ends. Here `peers` and `product` start the proxies, `stage` puts one between
load and target, `measuring` plays a scene on it, `scenes` lists all scenes, `goals` says what is to be reached,
`tables` and `page` write it down.
"""
