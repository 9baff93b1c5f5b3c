"""The pieces of `openfl-node demo`.

deal.py      deals the sample ratings out to the nodes, by user
children.py  starts real node processes, and ends them whatever happens
crew.py      all of them: started, asked over their control sockets, ended
polling.py   the demo itself: until all have learned
outcome.py   pure: what was reached, and whether the nodes really learned together
tastes.py    makes the ratings of communities of taste
communities.py, community_picture.py   the same for `--communities`
picture.py   pure: the live view over all nodes, and the closing table
"""
