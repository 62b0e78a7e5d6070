/* Whether the bytes of a file are plain text, and the write of a line.

   Accelerators. What is plain is the same as in `lines.py`, to the byte. The write is `descriptors.write_own`. */

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

enum { ODD = -1 };

/* What UTF-8 allows after a byte at which no character is open: how many bytes follow, and the range of the next. */
static int opened(unsigned char byte) {
    if (byte >= 0xC2 && byte <= 0xDF) return 1 | 0x80 << 8 | 0xBF << 16;
    if (byte == 0xE0) return 2 | 0xA0 << 8 | 0xBF << 16;
    if (byte == 0xED) return 2 | 0x80 << 8 | 0x9F << 16; /* no surrogates */
    if (byte >= 0xE1 && byte <= 0xEF) return 2 | 0x80 << 8 | 0xBF << 16;
    if (byte == 0xF0) return 3 | 0x90 << 8 | 0xBF << 16;
    if (byte >= 0xF1 && byte <= 0xF3) return 3 | 0x80 << 8 | 0xBF << 16;
    if (byte == 0xF4) return 3 | 0x80 << 8 | 0x8F << 16;
    return ODD;
}

/* The state after a byte: 0 between characters, `opened` within one, ODD after what is no plain text. */
static int after(int state, unsigned char byte) {
    if (state > 0) {
        if (byte < (state >> 8 & 0xFF) || byte > (state >> 16 & 0xFF)) return ODD;
        int left = (state & 0xFF) - 1;
        return left ? left | 0x80 << 8 | 0xBF << 16 : 0;
    }
    if (byte >= 0x80) return opened(byte);
    return byte <= 2 || byte == '\r' ? ODD : 0;
}

typedef struct {
    Py_ssize_t newlines, first, last;
    int state;
} Marks;

static void mark_bytes(const unsigned char *bytes, Py_ssize_t size, Marks *marks) {
    const uint64_t HIGH = 0x8080808080808080u, LOW = ~HIGH, BELOW_SPACE = 0x6060606060606060u;
    Py_ssize_t at = 0;
    while (at < size) {
        if (marks->state == 0) {
            uint64_t eight;
            /* eight at a time, while all are ASCII and none stands before the space: there bit 7 of the sum is set */
            while (size - at >= 8) {
                memcpy(&eight, bytes + at, 8);
                if ((eight & HIGH) || (((eight & LOW) + BELOW_SPACE) & HIGH) != HIGH) break;
                at += 8;
            }
        }
        Py_ssize_t until = size - at < 8 ? size : at + 8;
        for (; at < until; at++) {
            if (bytes[at] == '\n') {
                if (marks->newlines++ == 0) marks->first = at;
                marks->last = at;
            }
            if (marks->state != ODD) marks->state = after(marks->state, bytes[at]);
        }
    }
}

static PyObject *marks_of(PyObject *Py_UNUSED(module), PyObject *arguments) {
    Py_buffer chunk;
    Marks marks = {.first = -1, .last = -1};
    if (!PyArg_ParseTuple(arguments, "y*i", &chunk, &marks.state)) return NULL;
    Py_BEGIN_ALLOW_THREADS
    mark_bytes(chunk.buf, chunk.len, &marks);
    Py_END_ALLOW_THREADS
    PyBuffer_Release(&chunk);
    return Py_BuildValue("nnni", marks.newlines, marks.first, marks.last, marks.state);
}

static long own_flags = -1; /* what the system reports for the descriptors of log files; -1 where nothing is compared */

static PyObject *know_flags(PyObject *Py_UNUSED(module), PyObject *flags) {
    long known = PyLong_AsLong(flags);
    if (known == -1 && PyErr_Occurred()) return NULL;
    own_flags = known;
    Py_RETURN_NONE;
}

/* `os.write` into a descriptor that has the flags of a log file; into another OSError(EBADF), and no byte. */
static PyObject *write_own(PyObject *Py_UNUSED(module), PyObject *const *arguments, Py_ssize_t count) {
    if (count != 2) {
        PyErr_SetString(PyExc_TypeError, "write_own(fd, data)");
        return NULL;
    }
    long fd = PyLong_AsLong(arguments[0]);
    Py_buffer data;
    if ((fd == -1 && PyErr_Occurred()) || PyObject_GetBuffer(arguments[1], &data, PyBUF_SIMPLE) < 0) return NULL;
    ssize_t written = -1;
    int failed = EBADF;
    do {
        /* Under the interpreter's lock: until it is let go, no Python of another thread closes the descriptor. */
        if (own_flags >= 0 && fcntl((int)fd, F_GETFL) != own_flags) break;
        Py_BEGIN_ALLOW_THREADS
        written = write((int)fd, data.buf, (size_t)data.len);
        failed = errno;
        Py_END_ALLOW_THREADS
    } while (written < 0 && failed == EINTR && PyErr_CheckSignals() == 0);
    PyBuffer_Release(&data);
    if (written >= 0) return PyLong_FromSsize_t(written);
    if (PyErr_Occurred()) return NULL;
    errno = failed;
    return PyErr_SetFromErrno(PyExc_OSError);
}

static PyMethodDef functions[] = {
    {"marks_of", marks_of, METH_VARARGS,
     "marks_of(chunk, state): newlines, where the first and the last stands, and the state for the next chunk."},
    {"write_own", (PyCFunction)(void (*)(void))write_own, METH_FASTCALL,
     "write_own(fd, data): os.write into a log file; OSError(EBADF) and no byte into what has other flags."},
    {"know_flags", know_flags, METH_O, "know_flags(flags): what the system reports for a log file's descriptor; -1: nothing."},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, .m_name = "_heads", .m_size = -1, .m_methods = functions};

PyMODINIT_FUNC PyInit__heads(void) { return PyModule_Create(&module); }
