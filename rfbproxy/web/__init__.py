"""The pages that a browser gets: static files only, served by `rfbproxy.client.pages`."""
