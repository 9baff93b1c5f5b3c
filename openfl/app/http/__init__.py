"""A node's page, its metrics, and answers for music players and scripts, by HTTP.

Off unless `http.listen` or `http.web` is set, or `openfl-node web` asks for it. Only
`openfl.app.http.serving` is imported from elsewhere, and only when it is on; what answers is loaded
when somebody connects.
"""
