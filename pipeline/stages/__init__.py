"""The stages of the flow, one file each, named as in dvc.yaml."""
