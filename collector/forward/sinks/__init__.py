"""One file a protocol. Sinks never import each other; `table` names them all."""
