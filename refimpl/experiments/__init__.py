"""The paper's experiments: what the command ``refimpl reproduce`` runs.

`comparison` holds what all of them share: a 2-class network and a network trained on the finer
classes, their cosines with the features, and how robust they are. `synthetic` and `images` make the
data and train; `figures` draws, `report` prints and `summary` writes. Their settings are in
`refimpl.setting`.
"""
