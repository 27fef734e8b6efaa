"""Official solutions of word problems → gold traces: equations, graph, grounding, names, emit."""
