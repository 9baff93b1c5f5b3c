"""Answers for music players and scripts on this machine, by HTTP; off unless `http.listen` is set.

Only `openfl.app.http.serving` is imported from elsewhere, and only when it is on: the servers it
stands on are the extra `players`.
"""
