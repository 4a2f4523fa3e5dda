// SPDX-License-Identifier: MIT
// A C# program that does with maps what it is told, one step a line of words between tabs, as maps.c does in C.
// It answers "=value", or "!" and the name of the exception.
using System;
using System.IO;
using System.IO.MemoryMappedFiles;
using System.Text;

static class Maps
{
    static MemoryMappedFile map;
    static MemoryMappedViewAccessor view;

    static string Do(string[] step)
    {
        switch (step[0])
        {
            case "create": map = MemoryMappedFile.CreateNew(step[1], long.Parse(step[2])); return "";
            case "create_or_open": map = MemoryMappedFile.CreateOrOpen(step[1], long.Parse(step[2])); return "";
            case "open": map = MemoryMappedFile.OpenExisting(step[1], (MemoryMappedFileRights)int.Parse(step[2])); return "";
            case "file": map = MemoryMappedFile.CreateFromFile(new FileStream(step[1], FileMode.Open, FileAccess.ReadWrite,
                FileShare.ReadWrite), step[2], 0, MemoryMappedFileAccess.ReadWrite, HandleInheritability.None, false); return "";
            case "view": view = map.CreateViewAccessor(long.Parse(step[1]), long.Parse(step[2]),
                (MemoryMappedFileAccess)int.Parse(step[3])); return view.Capacity.ToString();
            case "read": return view.ReadInt32(long.Parse(step[1])).ToString();
            case "write": view.Write(long.Parse(step[1]), int.Parse(step[2])); return "";
            case "read_decimal": return view.ReadDecimal(long.Parse(step[1])).ToString();
            case "stream_write":
                using (var stream = map.CreateViewStream()) using (var writer = new BinaryWriter(stream)) writer.Write(step[1]);
                return "";
            case "stream_read":
                using (var stream = map.CreateViewStream(0, 0, MemoryMappedFileAccess.Read))
                using (var reader = new BinaryReader(stream)) return reader.ReadString();
            case "close": if (view != null) view.Dispose(); map.Dispose(); return "";
            default: throw new ArgumentException(step[0]);
        }
    }

    static void Main()
    {
        var input = new StreamReader(Console.OpenStandardInput(), new UTF8Encoding(false));
        var output = new StreamWriter(Console.OpenStandardOutput(), new UTF8Encoding(false)) { NewLine = "\n", AutoFlush = true };
        for (string line; (line = input.ReadLine()) != null;)
        {
            try { output.WriteLine("=" + Do(line.Split('\t'))); }
            catch (Exception error) { output.WriteLine("!" + error.GetType().Name); }
        }
    }
}
