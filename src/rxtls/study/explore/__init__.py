"""The explorer: device, policy and host taken through all interleavings of a short stream, within bounds.

    scenario   the stream, what may go wrong with it and how often
    world      one state: what the network still has, and the shipped objects; its actions; what has to hold
    freeze     a state as a value: to compare, to keep, to go on from
    cipher     a toy cipher in place of AES, since a cipher's state cannot be copied
    search     the walk over states
    faults     the shipped code with one fault put in: the explorer has to find each

What is explored is the code of the plain engine as it is shipped: device/engine and nic, device/lro, the receive tag,
the policies, way_back, reassembly, socket buffer and worker. Only AES is not, and the order of things is chosen here.
"""
