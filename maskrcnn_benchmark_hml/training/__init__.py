"""When the method acts: stages, their data, the teacher, the state that survives a restart. Knows no benchmark."""
