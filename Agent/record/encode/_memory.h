/* How much memory orjson may need for a value, by the rule of `ask_memory_for` in `plain.py`. Included by `_native.c`. */

enum { DEEPEST_ASKED = 256, MOST_ASKED = 1 << 22, OF_A_BYTE = 24, OF_AN_ITEM = 48, OF_THE_WIDEST = 288 };

typedef struct {
    Py_ssize_t text_bytes, items, widest;
} Needs;

static int is_nesting(PyObject *value) { return PyDict_CheckExact(value) || PyList_CheckExact(value) || PyTuple_CheckExact(value); }

static int add_needs(Needs *needs, PyObject *node, int depth);

static inline int add_child(Needs *needs, PyObject *child, int depth) {
    if (PyUnicode_CheckExact(child)) needs->text_bytes += PyUnicode_GET_LENGTH(child) * (PyUnicode_IS_ASCII(child) ? 1 : 3);
    else if (is_nesting(child)) return add_needs(needs, child, depth + 1);
    return 1;
}

/* 0 for a value that is too deep or too large, or has a cycle. */
static int add_needs(Needs *needs, PyObject *node, int depth) {
    Py_ssize_t count = PyDict_CheckExact(node) ? 2 * PyDict_GET_SIZE(node) : PySequence_Fast_GET_SIZE(node);
    /* few lists that hold each other several times count as many */
    if (depth > DEEPEST_ASKED || (needs->items += count) > MOST_ASKED) return 0;
    if (count > needs->widest) needs->widest = count;
    if (PyDict_CheckExact(node)) {
        PyObject *key, *item;
        for (Py_ssize_t place = 0; PyDict_Next(node, &place, &key, &item);)
            if (!add_child(needs, key, depth) || !add_child(needs, item, depth)) return 0;
    } else {
        for (Py_ssize_t i = 0; i < PySequence_Fast_GET_SIZE(node); i++)
            if (!add_child(needs, PySequence_Fast_GET_ITEM(node, i), depth)) return 0;
    }
    return 1;
}

static Py_ssize_t bytes_needed(PyObject *value) {
    Needs needs = {0};
    if (!is_nesting(value)) needs.items = needs.widest = 1;
    if (!add_child(&needs, value, -1)) return -1;
    return OF_A_BYTE * needs.text_bytes + OF_AN_ITEM * needs.items + OF_THE_WIDEST * needs.widest;
}

/* most_needed(value): an upper bound in bytes; -1 where Python has to count. */
static PyObject *most_needed(PyObject *Py_UNUSED(module), PyObject *value) { return PyLong_FromSsize_t(bytes_needed(value)); }

/* 0 with MemoryError where orjson might not get what it needs, which would end the process. Little is asked for, too: a walk over
   many small values may have taken the rest. */
static int ask_memory_for(PyObject *value) {
    Py_ssize_t needed = bytes_needed(value);
    void *room = needed < 0 ? NULL : PyMem_RawMalloc((size_t)needed + 4096);
    PyMem_RawFree(room);
    return room != NULL || (PyErr_NoMemory(), 0);
}
