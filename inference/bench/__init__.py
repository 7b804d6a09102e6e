"""Our plans beside eager and its peers, on models of real size, in one command on one GPU."""
